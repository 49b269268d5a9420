"""The one Piccolo app: its migrations, and every table of every domain."""

from piccolo.conf.apps import AppConfig, table_finder

from app.io.postgres import APP_NAME, MIGRATIONS

APP_CONFIG = AppConfig(
    app_name=APP_NAME,
    migrations_folder_path=MIGRATIONS,
    table_classes=table_finder(
        [
            "app.tenants.tables",
            "app.customers.tables",
            "app.metering.tables",
            "app.overrides.tables",
            "app.plans.tables",
            "app.ledger.tables",
            "app.environments.tables",
            "app.orders.tables",
            "app.subscriptions.tables",
            "app.topups.tables",
            "app.reservations.tables",
            "app.entitlements.tables",
            "app.trail.tables",
            "app.webhooks.tables",
            "app.test_clocks.tables",
        ],
        exclude_imported=True,
    ),
)
