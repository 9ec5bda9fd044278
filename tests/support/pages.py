"""A page as a reader's browser takes it apart, and words that try to be more than words."""

import re
from html.parser import HTMLParser

HOSTILE = "<script>alert('x')</script> \"&' | `rm` </style> ]]> {{ 7 * 7 }}"
VOID_ELEMENTS = {"meta", "img", "br"}


class Checker(HTMLParser):
    """Collects what a page refers to, and complains about elements that do not close."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.targets, self.sources, self.names = [], [], [], [], set()

    def handle_starttag(self, tag, attributes):
        held = dict(attributes)
        self.names.add(tag)
        self.ids += [held["id"]] if "id" in held else []
        self.targets += [held["href"]] if "href" in held else []
        self.sources += [held["src"]] if "src" in held else []
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.names.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker


def section(page, name):
    """The source of one section of a page, its heading included."""
    (found,) = re.findall(rf'<section aria-labelledby="{name}">(.*?)</section>', page, re.DOTALL)
    return found


def contents(page):
    """Ids of the sections that the list of contents names."""
    return re.findall(r'<li><a href="#([a-z-]+)">', page)
