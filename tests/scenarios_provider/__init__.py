"""The provider path, against a server on loopback that the tests start."""
