"""User with a browser: `browser.py [--stop] URL` logs in, consents, and follows the redirects.

With --stop, it prints the callback address instead of opening it."""

import html
import re
import sys
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, build_opener


class Stay(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


browser = build_opener(HTTPCookieProcessor(CookieJar()), Stay)
url, fields = sys.argv[-1], None
for _ in range(20):
    try:
        response = browser.open(url, urlencode(fields).encode() if fields else None, timeout=20)
    except HTTPError as error:
        response = error
    page, fields = response.read().decode(), None
    if response.code in (302, 303, 307):
        url = urljoin(url, response.headers["location"])
        if "--stop" in sys.argv and "/callback" in url:
            print(url)
            break
    elif form := re.search(r'<form[^>]*action="([^"]+)"', page):
        inputs = re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page)
        fields = {name: html.unescape(value) for name, value in inputs} | {"login": "ada", "password": "any"}
        url = urljoin(url, html.unescape(form[1]))
    else:
        print(response.code, page[:300])
        break
