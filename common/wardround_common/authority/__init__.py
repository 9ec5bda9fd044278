"""The consortium's offline key: who is a member, and the rosters that say so.

* ``cards``: a member's name and key, signed by that key. The programs of sites and coordinator make them.
* ``members``: who may come in, who leaves, which keys never come back. Pure rules.
* ``keyfile``, ``folder``: the key and the register on disk, and the order in which a roster is issued.
* ``overview``, ``main``: what the program ``wardround-authority`` shows and asks.

Nothing here opens a connection, and nothing here needs the coordinator.

Privacy: names and public keys of institutions only.
"""

from wardround_common.authority.cards import CARD_LIMIT_BYTES, Card, make_card, open_card

__all__ = ["CARD_LIMIT_BYTES", "Card", "make_card", "open_card"]
