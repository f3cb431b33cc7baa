"""Pictures that the project draws itself, for the demo and the tests."""
