"""Many runs: sweeps, studies, GLUE."""
