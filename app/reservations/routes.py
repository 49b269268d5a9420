"""Routes of reservations that core answers: what the ledger has. Opening and ending them is the edge's."""

from datetime import UTC, datetime
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.io.postgres import Transaction
from app.ledger import reading
from app.reservations import store
from app.reservations.schemas import OpenReservationBody, show_open
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.CREDITS_WRITE)
_OPEN = Listing("open reservations", tuple[datetime, UUID])
BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


@get("/v1/customers/{end_user_id:str}/reservations", guards=[READ], security=SECURITY, tags=["Reservations"])
async def list_reservations(
    end_user_id: FromPath[str], reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None
) -> Page[OpenReservationBody]:
    """A customer's open reservations, those that expire first before the others.

    As the ledger has them: one that was opened a moment ago may be missing, one that has just ended may still be here.
    """
    after = _OPEN.decode(cursor) or BEGINNING

    async def work(tx: Transaction) -> Page[OpenReservationBody]:
        figures = await reading.read_figures(tx, end_user_id)
        rows = await store.list_of_customer(tx, figures.account_id, after, limit + 1)
        return _OPEN.page(rows, limit, lambda row: show_open(row, end_user_id), lambda row: (row.expires_at, row.id))

    return await reader.run(work)


ROUTES = [list_reservations]
