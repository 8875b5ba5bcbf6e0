"""Proofs over rules: what can never be sent, and what a change of the rules newly lets through.

Each *place* (one tool, one agent of a loaded bundle) is turned into formulas over symbols that stand for everything a
rule can read there; z3 then searches for a request. Nothing that it finds is believed until the real bundle has
answered that request in the same way, and nothing counts as proven that z3 did not prove. z3 comes with the extra
`prove` and is imported when it is first needed.

Three questions are answered here:

- `invariants.prove(bundle, invariants)`: does every invariant hold for every request?
- `diff.compare(before, after)`: which requests are answered differently?
- anything else, through the parts below.

The parts, for whoever asks other questions:

```
place.places_of(bundle) -> tuple[Place, ...]           every tool x agent of the bundle
vocabulary.vocabulary_of(rules, places, copies=1)      what all formulas of one question share: give it every rule
                                                       that will be encoded, and how many copies of a place there are
symbolic.symbolize(place, vocabulary, prefix="", shared=()) -> Symbolic
solving.Solving(symbolics, timeout_s).find(*wanted) -> Found | Nothing | Unknown
confirm.confirm(symbolic, model) -> Confirmed          the real gates' answer; `EncodingWrong` where it is another
```

`Symbolic` is one place as formulas (`Bool` is a z3 term, or a plain `True` or `False` where it is certain):

- `context`, a tree of symbols; `at("args", "amount_usd")` is the value at a path (`.term` is its z3 term: an `Int`, which
  for a decimal counts ten-thousandths and for a datetime milliseconds), `present("args", "note")` whether it is there.
- `earlier`, by total: what was counted before this call.
- `tenant`, the one attribute of the agent that is free.
- `valid`: what is true of every request that reaches the rules. `assumptions` says in words what that rests on.
- `allow`, `asks`, `deny`: what the policy answers; exactly one holds.
- `sent`: sent with nobody asked, by policy *and* autonomy. `performable`: sent in the end, if everybody who is asked says
  yes. In shadow no write is either.
- `need(roles, count)`: a person is asked, and nobody but people of these roles, so many of them, can say yes.
- `asking`: each `ApproverNeed` with the formula under which it is asked.
- `encode(rule)`: whether another rule's conditions are met here, and whether evaluating them is an error.
- `request(model)`: the model as a `PolicyRequest` for the real `Bundle.decide`.

Two copies of a place are told apart by `prefix`, which is put before the name of every symbol; paths in `shared`
(`"args.order_id"`, `"run"`; `"tenant"` is the agent's) keep their plain name, and so stand for the same value in both.
Two places of different tools that are solved together need different prefixes too: names say nothing of the tool.
"""

from __future__ import annotations
