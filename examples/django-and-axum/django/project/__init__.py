"""Django knows MariaDB's driver by another name. This one needs no compiler."""

import pymysql

pymysql.install_as_MySQLdb()
