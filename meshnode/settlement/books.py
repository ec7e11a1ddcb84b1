"""Books: what is still open while a period is settled, and the postings so far."""

from meshnode.amounts import value
from meshnode.settlement.metered import Metered
from meshnode.settlement.posting import Posting, Reason


class Books:
    """One period while it is settled.

    Attributes:
        import_wh, export_wh: by account, not settled yet.
        neighbours_wh, sold_wh: by account, settled between members.
        postings: in the order in which they were made.
    """

    def __init__(self, asset: bytes, members: dict[bytes, Metered]) -> None:
        self.asset = asset
        self.import_wh = {account: metered.import_wh for account, metered in members.items()}
        self.export_wh = {account: metered.export_wh for account, metered in members.items()}
        self.neighbours_wh = dict.fromkeys(members, 0)
        self.sold_wh = dict.fromkeys(members, 0)
        self.postings: list[Posting] = []

    def move(self, buyer: bytes, seller: bytes, energy_wh: int) -> None:
        """Energy goes from a seller's export to a buyer's import."""
        self.take(buyer, energy_wh)
        self.give(seller, energy_wh)

    def take(self, buyer: bytes, energy_wh: int) -> None:
        self.import_wh[buyer] -= energy_wh
        self.neighbours_wh[buyer] += energy_wh

    def give(self, seller: bytes, energy_wh: int) -> None:
        self.export_wh[seller] -= energy_wh
        self.sold_wh[seller] += energy_wh

    def post(
        self,
        payer: bytes,
        receiver: bytes,
        energy_wh: int,
        price_u_kwh: int,
        reason: Reason,
        *,
        amount_u: int | None = None,
        orders: tuple[bytes, ...] = (),
    ) -> None:
        """Write one posting; the amount is the energy's value unless it is given."""
        if amount_u is None:
            amount_u = value(price_u_kwh, energy_wh)
        if price_u_kwh < 0:
            payer, receiver = receiver, payer
        self.postings.append(
            Posting(
                debit=payer,
                credit=receiver,
                asset=self.asset,
                amount_u=abs(amount_u),
                energy_wh=energy_wh,
                price_u_kwh=price_u_kwh,
                reason=reason,
                orders=orders,
            )
        )
