"""Pictures of tables: columns, and pairs of columns, of real and of drawn rows."""
