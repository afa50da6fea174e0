"""What a search would take: the stages on made-up records, timed steps, memory."""
