"""What the rooms of Messenger and Instagram share; each gives its facts as a `Network` and is otherwise the same.

Floors, lowest first: network < accounts, people < events, files < chats, rules < receipts < messages, customers
< phones, nodes < rooms.
"""
