"""How MS and PAN become HRMS: every method behind one interface, all ended by back-projection."""
