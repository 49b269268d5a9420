"""Where Piccolo finds the engine and the tables. It is pointed here by PICCOLO_CONF, set in `app.io.migrate`."""

from piccolo.conf.apps import AppRegistry

from app.io.postgres import ENGINE

DB = ENGINE
APP_REGISTRY = AppRegistry(apps=["app.piccolo_app"])
