"""Static assets: sessions that upload their files, the sites of versions, what is swept out."""
