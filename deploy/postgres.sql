-- Runs once, when the volume of the database is new: the owner, who migrates and needs no more than this.
\getenv owner_password OWNER_PASSWORD
CREATE ROLE quotastack LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE DATABASE quotastack OWNER quotastack;
