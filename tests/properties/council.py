"""The authority set in other words than the rules': an oracle for property tests.

It keeps plain lists and sets, and says of each vote and each piece of evidence what should come of
it; `Council.expect_…` changes the oracle and returns the code that the ledger must give.
"""

from ledger.authorities import list_open_proposals
from ledger.rejection import Rejection
from ledger.state import Changes, get_authorities
from tests.ledger.world import Key

Change = tuple[bool, bytes, bytes]
"""Whether it adds, the consensus key, the account."""

ROOM = 32


class Council:
    """Who certifies the open block, who comes after, and what is voted on."""

    def __init__(self, members: list[Key], validity: int) -> None:
        self.current = [(key.public, key.address) for key in members]
        self.following = list(self.current)
        self.epoch = 0
        self.is_changed = False
        self.convicted: set[bytes] = set()
        self.ballot_box: dict[Change, list[bytes]] = {}
        self._closes: dict[Change, int] = {}
        self._validity = validity
        self.height = 0

    def begin(self, height: int) -> None:
        """Begin a block."""
        self.height = height
        if self.is_changed:
            self.current, self.is_changed = list(self.following), False
            self.epoch += 1
        for change in [change for change, last in self._closes.items() if last < height]:
            self._drop(change)

    def expect_vote(self, sender: bytes, change: Change) -> int:
        voters = {key for key, _ in self.current} & {key for key, _ in self.following}
        if sender not in voters:
            return Rejection.NOT_AN_AUTHORITY
        reason = self._find_obstacle(change)
        if reason is not None:
            return reason
        needed = len(self.current) - (len(self.current) - 1) // 3
        box = self.ballot_box.get(change)
        if box is None:
            own = [others for others in self.ballot_box.values() if others[0] == sender]
            if len(own) >= max(1, ROOM // len(self.current)):
                return Rejection.TOO_MANY_PROPOSALS
            box = self.ballot_box[change] = []
            self._closes[change] = self.height + self._validity
        if sender in box and len(box) < needed:
            return Rejection.VOTED_BEFORE
        if sender not in box:
            box.append(sender)
        if len(box) >= needed:
            is_add, *member = change
            self._change(tuple(member), is_add)  # type: ignore[arg-type]
        return 0

    def expect_evidence(self, offender: bytes, is_proof: bool) -> int:
        after = {key for key, _ in self.following}
        if offender in self.convicted:
            return Rejection.AUTHORITY_CONVICTED
        if offender not in after | {key for key, _ in self.current}:
            return Rejection.AUTHORITY_UNKNOWN
        if after == {offender}:
            return Rejection.AUTHORITY_IS_LAST
        if not is_proof:
            return Rejection.BAD_EVIDENCE
        self.convicted.add(offender)
        for member in self.following:
            if member[0] == offender:
                self._change(member, False)
                break
        return 0

    def find_differences(self, changes: Changes) -> list[str]:
        """Return in what the ledger's state is another than this one."""
        sets = get_authorities(changes)
        shown = {
            "current": [(each.key, each.account) for each in sets.current.members],
            "following": [(each.key, each.account) for each in sets.following.members],
            "epochs": (sets.current.epoch, sets.following.epoch),
            "open": [
                ((each.is_add, each.key, each.account), list(each.voters), each.valid_until)
                for each in list_open_proposals(changes, self.height)
            ],
        }
        expected = {
            "current": self.current,
            "following": self.following,
            "epochs": (self.epoch, self.epoch + self.is_changed),
            "open": [
                (change, voters, self._closes[change]) for change, voters in self.ballot_box.items()
            ],
        }
        return [name for name in shown if shown[name] != expected[name]]

    def _find_obstacle(self, change: Change) -> Rejection | None:
        is_add, key, account = change
        keys = [member for member, _ in self.following]
        if is_add:
            if key in keys:
                return Rejection.AUTHORITY_EXISTS
            if key in self.convicted:
                return Rejection.AUTHORITY_CONVICTED
            return Rejection.BAD_AUTHORITY_KEY if key == bytes(32) else None
        if (key, account) not in self.following:
            return Rejection.AUTHORITY_UNKNOWN
        return Rejection.AUTHORITY_IS_LAST if len(keys) == 1 else None

    def _change(self, member: tuple[bytes, bytes], is_add: bool) -> None:
        self.is_changed = True
        if is_add:
            self.following.append(member)
        else:
            self.following.remove(member)
        keys = {key for key, _ in self.following}
        for change, voters in list(self.ballot_box.items()):
            voters[:] = [voter for voter in voters if voter in keys]
            if not voters or change[0] == (change[1] in keys):
                self._drop(change)

    def _drop(self, change: Change) -> None:
        del self.ballot_box[change], self._closes[change]
