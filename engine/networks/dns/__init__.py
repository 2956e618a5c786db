"""Names inside user networks: what answers at 127.0.0.11 in each container.

One small process an engine root answers for all its containers (`server`). It outlives the service, so names go on
being answered while a service is killed and the next one starts; a monitor a container could do the same, but 200 of
them would pay for it in memory, and each would have to know all its neighbours. The service makes the sockets inside
the container's namespace before the container starts (for most, ahead of time, with the namespace) and hands them over
(`service`): from then on questions wait in them, even while that process is just being started, or started again.

    packets   DNS messages: questions read, answers written; pure
    zones     who knows whom by what name; pure
    upstream  asking the host's servers, or those of --dns
    server    the process: an epoll loop over all sockets
    service   the engine service's side

Docker listens on ports of its own choice and has nf_tables in each container's namespace lead port 53 there. Here the
sockets are bound to 127.0.0.11:53 itself: without rules there is no connection tracking in the container, which every
packet would pay for. The difference shows to a container that is a DNS server on every address: UDP works if it sets
SO_REUSEADDR or SO_REUSEPORT, as the usual ones do; TCP is left to it when it exposes port 53.

The codec is our own, a hundred lines for one question with a few fixed kinds of answers, since this process starts as
lean as the launcher, answers with a few microseconds a question, and everything it reads is hostile; the tests read and
write through dnslib, an independent one. This file imports nothing, for that process's sake.
"""
