"""The client of a broker: moves opaque bytes, confirmed and acknowledged.

Threads: each publisher and the subscriber is a `Worker`, one thread with one connection, and what
is declared, published, read and acknowledged happens on that thread. A look runs on the thread of
who asks, with a second thread that cuts it in time.

Locks, none of which is held while a socket is waited for:

| lock            | guards                                    | taken under it           |
| --------------- | ----------------------------------------- | ------------------------ |
| outbox          | the parcels of one peer, and their counts | a parcel's own (`close`) |
| pools           | which pool belongs to which address       | none                     |
| looks           | the looks under way, whether it was ended | none                     |
| `Lookups`       | the names that are looked up at present   | none                     |
| `OwnedThread`   | that a thread is started once             | none                     |

A network calls `Publisher.put` and `grown` under its own lock. So the order is: network, outbox,
parcel; a parcel's lock is the last, and no observer is called under any of them.
"""
