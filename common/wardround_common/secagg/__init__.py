"""Secure aggregation, as far as sites and coordinator share it: arithmetic, keys, hashes, thresholds.

The protocol is the double-masking one of Bonawitz et al. (CCS 2017) in its active-adversary form, with
identities from the authority's roster. The two state machines are in ``wardround_client.secagg`` and
``wardround_server.secagg``; they share nothing but this package and ``messages``.

Privacy: with fewer than t colluding parties nothing of a site's vector shows but its part in the sum.

References: Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017.
"""
