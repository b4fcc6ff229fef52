"""Text from data, made safe to show: it must not steer the terminal it is shown on."""


def printable(text: str) -> str:
    """Show control characters as a dot; line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "·" for c in text)
