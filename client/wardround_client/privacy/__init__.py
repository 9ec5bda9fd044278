"""The mechanism at a site: who takes part in a step, how large one patient may be, what hides them.

``sampler`` draws patients, ``clipping`` bounds each one's gradient, ``noise`` adds integers to the bounded
sum, ``second_opinion`` computes the cost with another library than ``wardround_common.accounting``.

Not here: the record of what was spent (``wardround_client.ledger``), the order of a round (``rounds``).

Privacy: a sampled batch and a clipped sum are private; what ``noise`` returns is what the plan's epsilon is
about.
"""
