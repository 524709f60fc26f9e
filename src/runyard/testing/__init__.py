"""What plug-ins need to test themselves: the conformance suite that every backend passes."""
