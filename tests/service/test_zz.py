from tests.service.test_lifecycle import *
import time
def test_slow(start_server):
    t=time.time(); server = start_server(); print("started", time.time()-t)
    family=server.family()
    worker = server.worker(); worker.suspend()
    with ThreadPoolExecutor() as clients:
        answers = [clients.submit(server.ask, encoded(picture())) for _ in range(3)]
        wait_for(lambda: server.metric(WAITING) == 3, 60); print("waiting", time.time()-t)
        to_main_process(server)
        wait_for(lambda: refuses_connections(server), 60); print("refuses", time.time()-t)
        worker.resume()
        print([answer.result().status_code for answer in answers], time.time()-t)
    gone=set()
    while server.process.poll() is None:
        for p in family:
            if p.pid not in gone and (not p.is_running() or p.status()=='zombie'): gone.add(p.pid); print("gone", round(time.time()-t,2), p.pid)
        time.sleep(.02)
    print(server.process.wait(60), time.time()-t, [p.pid for p in family])
    print(server.log.read_text())
