"""What an export is checked by before it says that it worked."""
