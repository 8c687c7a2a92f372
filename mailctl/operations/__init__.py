"""Operations on emails: selection, bulk actions, pausing, maintenance, preview, message viewer."""
