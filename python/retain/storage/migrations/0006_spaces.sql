-- Which space serves is asked at every recall. Without this index SQLite walks all pages of each model to find out.
CREATE INDEX vector_space_state ON vector_space (kind, state, name, dim, fitted_rows);
