"""The paper's claims, one a module; `tools/reproduce` runs them, nothing else imports them."""
