"""How much of the network runs on the robot and what is sent, chosen as conditions change."""
