"""Drawings of our own: what the vendored ones lack, and bodies for those that are only a head."""

from typing import Final

# What the vendored ones lack and many ask for.
OWN: Final = {
    "hot-air-balloon": (
        '<path d="M64 4C34 4 16 24 16 48c0 22 24 38 38 52h20c14-14 38-30 38-52C112 24 94 4 64 4z"'
        ' fill="#e4483b"/><path d="M64 4C52 4 46 24 46 48c0 24 6 40 10 52h16c4-12 10-28 10-52C82'
        ' 24 76 4 64 4z" fill="#f7c948"/><path d="M30 15C20 24 16 36 16 48c0 22 24 38 38 52-10-20'
        "-22-32-24-52-1-12 0-23 0-33zm68 0c10 9 14 21 14 33 0 22-24 38-38 52 10-20 22-32 24-52 1"
        '-12 0-23 0-33z" fill="#2f7fc1"/><path d="M55 100l2 10m16-10l-2 10" stroke="#5b4632"'
        ' stroke-width="1.6"/><rect x="55" y="109" width="18" height="14" rx="3" fill="#8a5a33"/>'
        '<path d="M55 113h18" stroke="#5f3c20" stroke-width="2"/>'
    ),
    "bridge": (
        '<path d="M0 92h128v7H0z" fill="#9c4a3a"/><path d="M24 20h7v98h-7zM97 20h7v98h-7z"'
        ' fill="#b5543f"/><path d="M20 112h15v10H20zM93 112h15v10H93z" fill="#7d6a60"/><path'
        ' d="M-4 92Q18 70 27.500 24Q64 112 100.500 24Q110 70 132 92" fill="none" stroke="#b5543f"'
        ' stroke-width="2.6"/><path d="M8 84v10M16 72v22M38 50v44M46 66v28M55 76v18M64 79v15M73 76'
        'v18M82 66v28M91 50v44M112 72v22M120 84v10" stroke="#c77a66" stroke-width="1.2"/>'
        '<path d="M24 44h7M97 44h7" stroke="#7d3528" stroke-width="3"/>'
    ),
    "mount-fuji": (
        '<path d="M2 116C26 100 42 62 52 34q12-5 24 0c10 28 26 66 50 82z" fill="#4a6690"/><path'
        ' d="M76 34c10 28 26 66 50 82H70c4-30 8-56 6-82z" fill="#3a5278"/><path d="M52 34q12-5 24 0'
        'l12 31-8-5-5 12-7-13-6 15-6-14-6 9-4-11-6 4z" fill="#f6f9fc"/><path d="M76 34l12 31-8-5-5'
        ' 12-4-8c4-10 6-20 5-30z" fill="#d5e0ee"/>'
    ),
    "windmill": (
        '<path d="M48 122l8-66h18l8 66z" fill="#e8dcc4"/><path d="M66 56h8l8 66H68z"'
        ' fill="#cbb994"/><path d="M54 58l11-14 11 14z" fill="#8c3b2e"/><path d="M59 122v-16a6 6 0'
        ' 0 1 12 0v16z" fill="#6b4a2f"/><g fill="#f6f1e4" stroke="#6b4a2f" stroke-width="2"><path'
        ' d="M65 52l-5-44h-9l10 45z"/><path d="M66 51l43-7v-9L65 47z"/><path d="M64 53l5 44h9L69'
        ' 52z"/><path d="M64 51l-43 8v9l45-12z"/></g><circle cx="65" cy="52" r="4" fill="#6b4a2f"/>'
    ),
}

ANIMALS: Final = {  # heads without a body, and the colours of coat and belly
    "fox": ("#f2703a", "#fbe9dc"), "bear": ("#8d5d42", "#b98a68"), "wolf": ("#8a949b", "#dfe5e8"),
    "polar-bear": ("#e8eef2", "#ffffff"), "panda": ("#3c3c40", "#f6f6f6"),
    "lion": ("#f2b23e", "#fbdc9a"), "koala": ("#90a0a8", "#d8e0e4"),
    "frog": ("#7cb342", "#dcecb4"), "hamster": ("#f0a04b", "#fff3e0"),
    "moose": ("#9c6b4a", "#c49a78"), "boar": ("#7d6050", "#a58a78"),
    "unicorn": ("#f3eef6", "#ffffff"), "raccoon": ("#7f8a90", "#cfd6da"),
}  # fmt: skip
PEOPLE: Final = {  # heads and shoulders, and the colours of coat and legs
    "astronaut": ("#e3e7ea", "#c3cad0"), "mage": ("#5a4a8a", "#463a70"),
    "girl": ("#e2607a", "#4d6fb0"), "boy": ("#4d8fd0", "#5b6470"),
    "child": ("#58a66a", "#5b6470"), "baby": ("#f4c95a", "#f4c95a"),
    "man": ("#4a7ab0", "#3f4a58"), "woman": ("#b05a8a", "#4a4460"),
    "old-man": ("#7a8a6a", "#55504a"), "old-woman": ("#8a6aa0", "#5a4a60"),
    "person": ("#5a9a9a", "#48525c"), "farmer": ("#4a78b8", "#3d5f94"),
    "cook": ("#f4f4f4", "#50555c"), "artist": ("#6a86b8", "#4a5260"),
    "prince": ("#3f5fb0", "#e6e6ea"), "princess": ("#e48ab4", "#e48ab4"),
    "ninja": ("#34383e", "#26292e"), "guard": ("#c83a36", "#2a2c34"),
    "santa-claus": ("#d83a34", "#a52a28"), "mrs-claus": ("#d83a34", "#a52a28"),
    "robot": ("#a9b6bf", "#7f8c95"), "alien": ("#8aa0b0", "#6a8090"),
    "student": ("#50659a", "#3a4460"), "teacher": ("#5a8a6a", "#4a4a50"),
    "scientist": ("#eef2f4", "#596270"), "singer": ("#a04ac0", "#3a3050"),
    "detective": ("#b09468", "#6a5a44"), "skull": ("#e8e8e8", "#cfcfcf"),
}  # fmt: skip


def standing(name: str, body: str) -> str:
    """Return a drawing with a body below it, if it is a head; else as it is."""
    if name in ANIMALS:
        coat, belly = ANIMALS[name]
        return (
            f'<path d="M94 112c18 2 26-12 20-26" fill="none" stroke="{coat}" stroke-width="9"'
            f' stroke-linecap="round"/><ellipse cx="64" cy="94" rx="32" ry="31" fill="{coat}"/>'
            f'<ellipse cx="64" cy="98" rx="18" ry="23" fill="{belly}"/>'
            f'<path d="M45 84v36m38-36v36" stroke="{coat}" stroke-width="12"'
            ' stroke-linecap="round"/><path d="M39 122h12m26 0h12" stroke="#00000040"'
            ' stroke-width="5" stroke-linecap="round"/>'
            f'<g transform="translate(26 -2) scale(.6)">{body}</g>'
        )
    if name in PEOPLE:
        coat, legs = PEOPLE[name]
        return (
            f'<path d="M56 92v30m16-30v30" stroke="{legs}" stroke-width="12"'
            ' stroke-linecap="round"/><path d="M50 124h10m8 0h10" stroke="#2a2a2e"'
            f' stroke-width="7" stroke-linecap="round"/><path d="M44 66l-8 28m48-28l8 28"'
            f' stroke="{coat}" stroke-width="10" stroke-linecap="round"/>'
            f'<path d="M45 60q19-8 38 0l3 40q-22 7-44 0z" fill="{coat}"/>'
            f'<g transform="translate(30 -1) scale(.53)">{body}</g>'
        )
    return body
