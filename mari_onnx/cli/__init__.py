"""The command line."""

from __future__ import annotations

import sys


def main(argv=None):
    import argparse
    import onnx
    from mari_onnx.errors import MariError

    p = argparse.ArgumentParser()
    p.add_argument("verb")
    p.add_argument("input")
    p.add_argument("output")
    p.add_argument("--user", action="append")
    p.add_argument("--keep-signature", action="store_true")
    p.add_argument("--no-verify", action="store_true")
    a = p.parse_args(argv)
    from mari_onnx.pipeline import Options, run

    try:
        r = run(a.input, Options(user_inputs=a.user, keep_signature=a.keep_signature, verify=not a.no_verify))
    except MariError as e:
        print(e, file=sys.stderr)
        return e.exit_status
    onnx.save(r.model, a.output)
    print(r.report)
    return 0
