"""Long-context LLM prefill on wafer-scale chips, scheduled with a certified optimality gap."""
