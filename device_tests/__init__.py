"""Device tests: boards, a model, and the proof that they agree.

pytest --pyargs pipeline.device_tests --board nucleo_f767zi --port /dev/ttyACM0 --model my.tflite
pytest --pyargs pipeline.device_tests --rig rig.toml --model my.tflite
"""
