"""The console: server-rendered pages on the management listener, for people who look at it every day.

    browser ──GET/POST──▶ page (app.py) ──in process──▶ the admin API (asking.py) ──▶ operations

A page is a client of the admin API and of nothing else: it asks with the visitor's own session, so what it
shows and does is what the API permits, counts and records. There is no second way to a row.

- `page.py`: a page as a value. `pages.py`: the list of all of them.
- `view.py`: one visit: the API, the words, the zone, and how an answer is made of a template.
- `language.py`: two languages; `catalogs/`: what is said in the second. `formats.py`: numbers and times.
- `static/`: style, script, and what others wrote (THIRD-PARTY.md). Nothing is built: files are what is served.
"""
