"""What magics return: containers, images, exit statuses, documents. Each shows itself, as HTML and as text.

`container` and `image` need docker-py, so commands import them when they have something to return.
"""
