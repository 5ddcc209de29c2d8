"""Sizes, durations and shares of processors as people write them; pure.

The notation of sizes and processors is that of Kubernetes (resource quantities).
"""

import math
import re

SMALLEST_MEMORY = 6 * 1024 * 1024
"""Bytes; engines refuse less."""

_SIZE = r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|k|K|M|G|T|P)?"
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION = (
    r"(?:([0-9]+(?:\.[0-9]+)?)d)?(?:([0-9]+(?:\.[0-9]+)?)h)?(?:([0-9]+(?:\.[0-9]+)?)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?"
)
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"


def parse_size(text: str) -> int | None:
    """Return the bytes of `4Gi`, `512Mi`, `2G`, `1.5Gi` or a plain number; None for anything else or too long."""
    match = re.fullmatch(_SIZE, text)
    if match is None or len(text) > 20:
        return None
    unit = match[2] or ""
    base = 1024 if unit.endswith("i") else 1000
    power = _POWERS[unit[0].lower()] if unit else 0
    return int(float(match[1]) * base**power) if "." in match[1] else int(match[1]) * base**power


def parse_duration(text: str) -> float | None:
    """Return the seconds of `30m`, `1h30m`, `90s`, `1.5h`, `2d` or a plain number; None for anything else."""
    if not text or len(text) > 40:
        return None
    if re.fullmatch(_NUMBER, text):
        return float(text)
    match = re.fullmatch(_DURATION, text)
    if match is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def parse_cpu(text: str) -> float | None:
    """Return the processors of `2`, `0.5` or `500m` (thousandths); None for anything else."""
    number = text.removesuffix("m")
    if not re.fullmatch(_NUMBER, number) or len(number) > 20:
        return None
    cpu = float(number) / (1000 if text.endswith("m") else 1)
    return cpu if math.isfinite(cpu) else None
