"""The methods that make HRMS of MS and PAN: all behind one interface, all ended by back-projection."""
