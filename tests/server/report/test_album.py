"""The room for pictures on a page."""

from wardround_server.report.album import Album


def test_a_picture_is_shown_as_long_as_there_is_room():
    album = Album(limit_bytes=10)
    assert album.show(b"12345678") == "data:image/png;base64,MTIzNDU2Nzg="
    assert album.show(b"123") == ""
    assert album.show(b"12") == "data:image/png;base64,MTI="
