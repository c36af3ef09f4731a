-- From version 1 to 2: what rotation between two servers, renewal, administration and evidence remember.

-- when the code of a login was spent on an administrator's act; it releases nothing then
ALTER TABLE logins ADD COLUMN acted_at INTEGER;
