"""The key of a mesh is changed while events flow, in the three steps of `docs/keys.md`.

Each node reads its keys from a file of its own: a step is taken on one node after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from chaos.members import Member, Sender
from chaos.mesh import Harmed, Mesh
from miros_mesh.wire.keyring import fingerprint

FOLLOW_LIMIT_S = 60.0

Amid = Callable[[], Harmed]
"""Does another harm, between two nodes of a step."""


def rotate(mesh: Mesh, amid: Amid) -> Harmed:
    """Add a new key, use it, remove the old one, with another harm amid each step."""
    old, new = mesh.next_key()
    suffered = [_step(mesh, (old, new), amid), _step(mesh, (new, old), amid)]
    # No frame of the old key is left anywhere, and no dead letter of a sender.
    mesh.arrive()
    suffered.append(_step(mesh, (new,), amid))
    ended = next((each.ended for each in suffered if each.ended), None)
    return Harmed(ended=ended, aside=sum(each.aside for each in suffered))


def follow_late(mesh: Mesh, wait: Callable[[], None]) -> Harmed:
    """Let one node miss a step, so that events are refused until it catches up.

    A receiver lacks the key that the others use; or a sender still uses the one that the others
    have removed. What was refused comes through repair. Then some of the frames are put back all
    the same, and must be known for copies.
    """
    old, new = mesh.next_key()
    late = mesh.random.choice(mesh.members)
    others = [member for member in mesh.members if member is not late]
    if isinstance(late, Sender):
        what, keeper = "still uses the old one", late
        _follow(mesh, mesh.members, (old, new))
        _follow(mesh, others, (new, old))
        _follow(mesh, others, (new,))
    else:
        what, keeper = "lacks the new one", mesh.random.choice(mesh.senders)
        _follow(mesh, others, (old, new))
        _follow(mesh, others, (new, old))
    mesh.doing += f": {late.name} {what}"
    wait()
    _follow(mesh, [late], (new, old))
    mended = time.monotonic()
    mesh.arrive()
    aside = keeper.put_back_frames()
    _follow(mesh, mesh.members, (new,))
    return Harmed(mended, aside=aside)


def _step(mesh: Mesh, keys: Sequence[bytes], amid: Amid) -> Harmed:
    """Give all nodes these keys, and do harm when some have them."""
    members = mesh.random.sample(mesh.members, len(mesh.members))
    first = mesh.random.randrange(1, len(members))
    _write(mesh, members[:first], keys)
    suffered = amid()
    _write(mesh, members[first:], keys)
    _wait(mesh, members, keys)
    return suffered


def _follow(mesh: Mesh, members: Sequence[Member], keys: Sequence[bytes]) -> None:
    """Give these nodes these keys."""
    _write(mesh, members, keys)
    _wait(mesh, members, keys)


def _write(mesh: Mesh, members: Sequence[Member], keys: Sequence[bytes]) -> None:
    for member in members:
        member.write_keys(keys)
        # Else it reads its file at its next heartbeat.
        if mesh.random.random() < 0.5:
            member.read_keys()


def _wait(mesh: Mesh, members: Sequence[Member], keys: Sequence[bytes]) -> None:
    wanted = [fingerprint(key) for key in keys]
    mesh.until(
        lambda: all(member.keys() == wanted for member in members),
        FOLLOW_LIMIT_S,
        f"all nodes have the keys {', '.join(wanted)}",
    )
