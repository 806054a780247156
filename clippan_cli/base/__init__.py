"""What everything stands on: geometry, options, listening, devices, memory, documents."""
