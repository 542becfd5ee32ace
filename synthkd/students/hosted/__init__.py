"""The hosted student: a fine-tuning job at a provider, and a model that only it has.

chat_file.py  rows -> the training file, every fault of it found before anything is sent
provider.py   the fine-tuning API, through the openai SDK
job.py        one job: made once, found again after a kill, awaited
student.py    the folder, and how the student is asked
"""
