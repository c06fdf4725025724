-- The service's own user: it moves rows and changes no tables. The image has made the database and the user of
-- `mailculator schema apply` before this runs.
CREATE USER IF NOT EXISTS 'mailculator'@'%' IDENTIFIED BY 'mailculator';
GRANT SELECT, INSERT, UPDATE, DELETE ON mailculator.* TO 'mailculator'@'%';
