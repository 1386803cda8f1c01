import pytest
from pathlib import Path
import faults.test_restarts as r
from faults.test_restarts import written
from itertools import pairwise
@pytest.mark.parametrize("n", range(8))
@pytest.mark.timeout(60)
def test_loop(n, vhost_url, launch, written, monkeypatch):
    monkeypatch.setattr(r, "ROLES", Path("/tmp/roles_dbg.py"))
    try: r.test_receiver_restarted_under_its_name(vhost_url, launch, written)
    except AssertionError:
        nums=written.numbers
        i=[i for i,(a,b) in enumerate(pairwise(nums)) if b!=a+1]
        lines=open(str(written.file)+".dbg").read().splitlines()
        print("\n".join(lines[i[0]-3:i[-1]+6]))
        raise
