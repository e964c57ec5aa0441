"""convostore: the persistence layer of a multi-tenant platform for conversational agents."""
