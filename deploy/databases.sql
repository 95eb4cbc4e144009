-- The image makes the database for votes; the other two servers have their own.
CREATE DATABASE prefect OWNER regen;
CREATE DATABASE mlflow OWNER regen;
