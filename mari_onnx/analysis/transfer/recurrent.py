"""RNN, GRU, LSTM: sequences of a batch, treated one by one."""

from __future__ import annotations

from mari_onnx.analysis.transfer.call import Call, Claim, Lane, Table


def recurrent(call: Call) -> Claim:
    batch_first = bool(call.attr("layout", 0))
    sequence = call.axis(0)
    if sequence is None or sequence.index != (0 if batch_first else 1):
        return call.opaque("its sequences are not the candidates")
    # Inputs beside the sequences that have one entry per sequence: lengths and initial states.
    per_sequence = {4: 0, 5: 0 if batch_first else 1, 6: 0 if batch_first else 1}
    for index, fact in call.given():
        if index == 0:
            continue
        wanted = sequence.at(per_sequence[index]) if index in per_sequence else None
        if fact.axis != wanted:
            return call.opaque("its states or weights do not go with its sequences")
    positions = (0, 0, 0) if batch_first else (2, 1, 1)
    return Claim(tuple(Lane(sequence.at(p)) for p in positions[: len(call.node.outputs)]))


TABLE: Table = dict.fromkeys(("RNN", "GRU", "LSTM"), recurrent)
