"""CLIP as a teacher: what it sees in MS, PAN and HRMS, and which way a fusion should go (CLIPPan, arXiv 2511.10896)."""
