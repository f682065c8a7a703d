CREATE USER IF NOT EXISTS 'flashsale'@'%';
ALTER USER 'flashsale'@'%' IDENTIFIED BY '@PASSWORD@';
GRANT ALL PRIVILEGES ON *.* TO 'flashsale'@'%';
