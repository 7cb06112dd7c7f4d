import json
def test_smoke(http, server):
    from tests.service.conftest import encoded, picture, upload
    r = http.get("/readyz"); print(r.status_code, r.json())
    r = http.post("/v1/masks", files=upload(encoded(picture()), b"junk", encoded(picture(120,200,1))), data={"maps":"masks,contributions","features":"all","classes":["top2","eel"]})
    print(r.status_code, r.text[:3000])
    print(http.get("/v1/banks").text); print(http.get("/v1/banks/tiny/classes/ant/features").text[:600]); print(http.get("/metrics").text[:6000]); print(http.get("/v1/capabilities").text)
    print(http.get("/openapi.json").status_code, http.get("/nope").text)
    print(server.log.read_text()[-3000:])
