"""``forecast view``: a local web page that shows scenes, edits them and imagines their futures.

The server keeps no session. Each request carries the whole state of its page (`PageState`): scene,
step, seed, number of samples and edits. So two pages never see each other's edits, and the address
of a page can hold its state. An edit is one call of a method of `forecast.World`.
"""
