"""The ground that every room stands on: geometry, options, listening, devices, memory, documents."""
